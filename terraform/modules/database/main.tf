# One PostgreSQL for MLflow (tracking, its users), decisions and Optuna's study, each a database with its own owner.
locals {
  name = var.context.name
}

# RDS makes these itself, without an end to what they keep, unless they exist before it.
resource "aws_cloudwatch_log_group" "database" {
  #checkov:skip=CKV_AWS_338:30 days as asked for; decisions are kept in the database, not in logs
  for_each          = toset(["postgresql", "upgrade"])
  name              = "/aws/rds/instance/${local.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.key.arn
}

resource "aws_db_subnet_group" "platform" {
  name       = local.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "platform" {
  name   = local.name
  family = "postgres17"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
  # statements that set passwords carry SCRAM verifiers, see ../setup/create_databases.py
  parameter {
    name  = "log_statement"
    value = "ddl"
  }
}

resource "aws_db_instance" "platform" {
  #checkov:skip=CKV_AWS_133:backup_days is a variable that refuses less than 7
  #checkov:skip=CKV_AWS_157:multi_az is a variable, true by default
  #checkov:skip=CKV_AWS_293:deletion_protection is a variable, true by default
  #checkov:skip=CKV_AWS_161:gateway and MLflow log in with passwords; tokens of 15 minutes would need code in both
  #checkov:skip=CKV_AWS_118:enhanced monitoring wants a role of its own; slow statements are in the log
  #checkov:skip=CKV_AWS_353:AWS ended Performance Insights on 30 June 2026
  #checkov:skip=CKV_AWS_354:AWS ended Performance Insights on 30 June 2026
  identifier                      = local.name
  engine                          = "postgres"
  engine_version                  = "17"
  auto_minor_version_upgrade      = true
  instance_class                  = var.settings.instance_class
  allocated_storage               = var.settings.storage
  max_allocated_storage           = var.settings.storage * 10
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = var.key.arn
  username                        = "platform"
  manage_master_user_password     = true
  master_user_secret_kms_key_id   = var.key.id
  multi_az                        = var.settings.multi_az
  db_subnet_group_name            = aws_db_subnet_group.platform.name
  parameter_group_name            = aws_db_parameter_group.platform.name
  vpc_security_group_ids          = [var.security_group_id]
  publicly_accessible             = false
  backup_retention_period         = var.settings.backup_days
  copy_tags_to_snapshot           = true
  deletion_protection             = var.protect_data
  skip_final_snapshot             = !var.protect_data
  final_snapshot_identifier       = "${local.name}-final"
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  depends_on                      = [aws_cloudwatch_log_group.database]
}
