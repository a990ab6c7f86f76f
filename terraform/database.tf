# One PostgreSQL for MLflow (tracking, its users), decisions and Optuna's study, each a database with an owner of its own.
resource "aws_db_subnet_group" "platform" {
  name       = var.name
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
}

resource "aws_db_parameter_group" "platform" {
  name   = var.name
  family = "postgres17"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
  parameter {
    name  = "log_statement"
    value = "ddl"
  }
}

resource "aws_db_instance" "platform" {
  #checkov:skip=CKV_AWS_133:backup_days is a variable that refuses less than 7
  #checkov:skip=CKV_AWS_157:multi_az is a variable, true by default
  #checkov:skip=CKV_AWS_293:deletion_protection is a variable, true by default
  #checkov:skip=CKV_AWS_161:gateway and MLflow log in with passwords from Secrets Manager; tokens of 15 minutes would need code in both
  #checkov:skip=CKV_AWS_118:enhanced monitoring wants a role of its own; slow statements are in the log
  #checkov:skip=CKV_AWS_353:AWS ended Performance Insights on 30 June 2026
  #checkov:skip=CKV_AWS_354:AWS ended Performance Insights on 30 June 2026
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "17"
  auto_minor_version_upgrade      = true
  instance_class                  = var.database.instance_class
  allocated_storage               = var.database.storage
  max_allocated_storage           = var.database.storage * 10
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = aws_kms_key.platform.arn
  username                        = "platform"
  manage_master_user_password     = true
  master_user_secret_kms_key_id   = aws_kms_key.platform.key_id
  multi_az                        = var.database.multi_az
  db_subnet_group_name            = aws_db_subnet_group.platform.name
  parameter_group_name            = aws_db_parameter_group.platform.name
  vpc_security_group_ids          = [aws_security_group.member["database"].id]
  publicly_accessible             = false
  backup_retention_period         = var.database.backup_days
  copy_tags_to_snapshot           = true
  deletion_protection             = var.protect_data
  skip_final_snapshot             = !var.protect_data
  final_snapshot_identifier       = "${var.name}-final"
  depends_on                      = [aws_cloudwatch_log_group.ours]
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
}
