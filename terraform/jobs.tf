# Work that ends: each job is one command of the pipelines' image as an ECS task, started by a schedule or by a workflow.
locals {
  steps = ["python", "-m", "pipelines"]
  jobs = {
    main     = { start = local.steps, command = ["main"], cpu = 4096, memory = 16384 }
    retrain  = { start = local.steps, command = ["retrain", "--reason", "schedule"], cpu = 4096, memory = 16384 }
    monitor  = { start = local.steps, command = ["monitor"], cpu = 1024, memory = 4096 }
    rollback = { start = local.steps, command = ["rollback", "--reason", "by hand"], cpu = 512, memory = 2048 }
    database = { start = ["python", "-c"], command = [file("${path.module}/create_databases.py")], cpu = 256, memory = 512 }
  }
  scheduled = {
    retrain = var.retraining.schedule
    monitor = "rate(${var.monitoring_hours} hour${var.monitoring_hours > 1 ? "s" : ""})"
  }
  training_data = var.training_data != "" ? var.training_data : "s3://${aws_s3_bucket.platform.bucket}/data/transactions.parquet"

  pipelines_environment = {
    AWS_DEFAULT_REGION       = var.region
    DO_NOT_TRACK             = "1"
    FRAUD_DATA               = local.training_data
    FRAUD_RELEASES_URI       = local.releases_uri
    FRAUD_STATE_DIR          = "/state"
    GX_ANALYTICS_ENABLED     = "false"
    HOME                     = "/tmp"
    MLFLOW_DISABLE_TELEMETRY = "true"
    MLFLOW_TRACKING_URI      = local.mlflow_url
    MLFLOW_TRACKING_USERNAME = "admin"
  }
  pipelines_secrets = {
    FRAUD_STUDY_URL          = "${aws_secretsmanager_secret.database["pipelines"].arn}:url::"
    FRAUD_DATABASE_URL       = "${aws_secretsmanager_secret.database["pipelines"].arn}:decisions_url::"
    MLFLOW_TRACKING_PASSWORD = aws_secretsmanager_secret.single["mlflow-admin"].arn
  }
  job_secret_arns = [aws_secretsmanager_secret.database["pipelines"].arn, aws_secretsmanager_secret.single["mlflow-admin"].arn]

  # The job `database` alone knows the master's password, and talks to PostgreSQL alone.
  master_secret_arn    = aws_db_instance.platform.master_user_secret[0].secret_arn
  database_environment = { PGHOST = aws_db_instance.platform.address, PGDATABASE = "postgres", PGSSLMODE = "require", OWNERS = jsonencode(local.databases) }
  database_secrets = merge(
    { PGUSER = "${local.master_secret_arn}:username::", PGPASSWORD = "${local.master_secret_arn}:password::" },
    { for user, secret in aws_secretsmanager_secret.database : "PASSWORD_${user}" => "${secret.arn}:password::" },
  )
}

resource "aws_ecs_task_definition" "job" {
  for_each                 = local.jobs
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  task_role_arn            = each.key == "database" ? null : aws_iam_role.process["pipelines"].arn
  execution_role_arn       = aws_iam_role.process[each.key == "database" ? "database-execution" : "jobs-execution"].arn
  volume {
    name = "state"
  }
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([{
    name                   = "job"
    image                  = local.images["pipelines"]
    essential              = true
    readonlyRootFilesystem = true
    entryPoint             = each.value.start
    command                = each.value.command
    mountPoints = [
      { sourceVolume = "state", containerPath = "/state", readOnly = false },
      { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
    ]
    environment = [for name, value in(each.key == "database" ? local.database_environment : local.pipelines_environment) : { name = name, value = value }]
    secrets     = [for name, value in(each.key == "database" ? local.database_secrets : local.pipelines_secrets) : { name = name, valueFrom = value }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.ours["jobs"].name
        awslogs-region        = var.region
        awslogs-stream-prefix = each.key
      }
    }
  }])
}

resource "aws_scheduler_schedule" "job" {
  for_each            = local.scheduled
  name                = "${var.name}-${each.key}"
  description         = "python -m pipelines ${each.key}"
  schedule_expression = each.value
  kms_key_arn         = aws_kms_key.platform.arn
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = aws_ecs_cluster.platform.arn
    role_arn = aws_iam_role.process["scheduler"].arn
    ecs_parameters {
      # without its revision, so that a run takes the newest
      task_definition_arn = aws_ecs_task_definition.job[each.key].arn_without_revision
      launch_type         = "FARGATE"
      network_configuration {
        subnets         = [for subnet in aws_subnet.private : subnet.id]
        security_groups = [aws_security_group.member["jobs"].id]
      }
    }
    retry_policy {
      maximum_retry_attempts       = 5
      maximum_event_age_in_seconds = 3600
    }
    dead_letter_config {
      arn = aws_sqs_queue.undelivered.arn
    }
  }
}

# Runs that never began: an alarm watches its length.
resource "aws_sqs_queue" "undelivered" {
  name                      = "${var.name}-undelivered"
  message_retention_seconds = 1209600
  kms_master_key_id         = aws_kms_key.platform.key_id
}
