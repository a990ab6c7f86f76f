mock_provider "aws" {
  source = "./tests/mocks"
}

# Real, since mocks know no ephemeral resource, but never asked: secrets_version = 0 makes no password.
provider "aws" {
  alias                       = "secrets"
  region                      = "eu-west-3"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  secrets_version = 0
  image_digests = {
    gateway   = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
    pipelines = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
    mlflow    = "sha256:3333333333333333333333333333333333333333333333333333333333333333"
  }
  mlflow_tls = {
    certificate_arn = "arn:aws:acm:eu-west-3:123456789012:certificate/1"
    hostname        = "mlflow.fraud.example.com"
  }
  gateway_tls = {
    certificate_arn = "arn:aws:acm:eu-west-3:123456789012:certificate/2"
    hostname        = "fraud.example.com"
  }
}

# What does not depend on the compute.
run "platform" {
  variables {
    compute      = "apprunner"
    alarm_emails = ["fraud-platform@example.com"]
    slack        = { team_id = "T0123ABCD", channel_id = "C0123ABCD" }
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.platform.block_public_acls, aws_s3_bucket_public_access_block.platform.block_public_policy,
      aws_s3_bucket_public_access_block.platform.ignore_public_acls, aws_s3_bucket_public_access_block.platform.restrict_public_buckets,
    ])
    error_message = "nothing in the bucket can be public"
  }
  assert {
    condition     = one(data.aws_iam_policy_document.bucket.statement).effect == "Deny" && one(one(data.aws_iam_policy_document.bucket.statement).condition).variable == "aws:SecureTransport"
    error_message = "the bucket speaks TLS only"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.platform.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.platform.arn
    error_message = "the bucket is encrypted with the platform's key"
  }
  assert {
    condition     = aws_s3_bucket_versioning.platform.versioning_configuration[0].status == "Enabled" && aws_kms_key.platform.enable_key_rotation
    error_message = "versions are kept, the key rotates"
  }
  assert {
    condition     = aws_db_instance.platform.storage_encrypted && !aws_db_instance.platform.publicly_accessible && aws_db_instance.platform.manage_master_user_password && aws_db_instance.platform.deletion_protection && aws_db_instance.platform.multi_az
    error_message = "the database is encrypted, private, protected, in two zones, its master password RDS's own"
  }
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.ours : group.retention_in_days == 30 && group.kms_key_id == aws_kms_key.platform.arn])
    error_message = "logs are kept 30 days, encrypted"
  }
  assert {
    condition     = aws_lb.mlflow.internal && aws_lb_listener.mlflow.protocol == "HTTPS" && length(aws_vpc_security_group_ingress_rule.mlflow_people) == 0
    error_message = "MLflow is private and speaks TLS"
  }
  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.bucket_access["gateway"].statement :
      length(setsubtract(statement.actions, ["s3:GetObject", "s3:ListBucket", "kms:Decrypt"])) == 0
    ])
    error_message = "the gateway only reads"
  }
  assert {
    condition     = anytrue([for statement in data.aws_iam_policy_document.bucket_access["pipelines"].statement : contains(statement.actions, "s3:PutObject")])
    error_message = "the pipelines write releases"
  }
  assert {
    condition     = alltrue([for role in aws_iam_role.process : role.permissions_boundary == "arn:aws:iam::123456789012:policy/fraud-detection-boundary"])
    error_message = "every role lies within the boundary"
  }
  assert {
    condition = toset([for alarm in concat(values(aws_cloudwatch_metric_alarm.simple), [aws_cloudwatch_metric_alarm.errors, aws_cloudwatch_metric_alarm.latency]) : alarm.alarm_name]) == toset([
      for name in [
        "errors", "latency", "no-healthy-instance", "no-model", "drift", "job-failed", "retraining-missed", "monitoring-missed",
        "undelivered", "spool", "queue", "cpu", "mlflow", "database-storage",
      ] : "fraud-detection-${name}"
    ])
    error_message = "every alarm is there"
  }
  assert {
    condition     = alltrue([for alarm in concat(values(aws_cloudwatch_metric_alarm.simple), [aws_cloudwatch_metric_alarm.errors, aws_cloudwatch_metric_alarm.latency]) : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "every alarm is told to somebody"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.errors.threshold == 5 && aws_cloudwatch_metric_alarm.errors.evaluation_periods == 2 && aws_cloudwatch_metric_alarm.latency.extended_statistic == "p99" && aws_cloudwatch_metric_alarm.latency.threshold == 500
    error_message = "5 % for 2 minutes, p99 of 500 ms"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.simple["cpu"].threshold == 80 && aws_cloudwatch_metric_alarm.simple["cpu"].evaluation_periods * aws_cloudwatch_metric_alarm.simple["cpu"].period == 300
    error_message = "80 % for 5 minutes"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.simple["retraining-missed"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.simple["retraining-missed"].period * aws_cloudwatch_metric_alarm.simple["retraining-missed"].evaluation_periods <= 604800
    error_message = "silence rings, within what CloudWatch looks back"
  }
  assert {
    condition     = toset(keys(aws_cloudwatch_query_definition.search)) == toset(["errors", "warnings", "slower than 100 ms", "models gone live", "declined"])
    error_message = "the searches are saved"
  }
  assert {
    condition     = toset(keys(aws_scheduler_schedule.job)) == toset(["retrain", "monitor"]) && alltrue([for job in aws_scheduler_schedule.job : job.target[0].dead_letter_config[0].arn == aws_sqs_queue.undelivered.arn])
    error_message = "retraining and monitoring are scheduled, with a dead-letter queue"
  }
  assert {
    condition     = length(aws_chatbot_slack_channel_configuration.alarms) == 1 && length(aws_sns_topic_subscription.email) == 1
    error_message = "Slack and e-mail where they are wanted"
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.platform.dashboard_body).widgets) == 8
    error_message = "the dashboard has its charts"
  }
  assert {
    condition     = aws_budgets_budget.monthly.limit_amount == "400"
    error_message = "a budget"
  }
}

run "no_compute_by_itself" {
  command = plan
  variables {
    compute = "lambda"
  }
  expect_failures = [var.compute]
}

run "no_tags_for_digests" {
  command = plan
  variables {
    compute       = "apprunner"
    image_digests = { gateway = "latest", pipelines = "latest", mlflow = "latest" }
  }
  expect_failures = [var.image_digests]
}

run "no_ecs_without_tls" {
  command = plan
  variables {
    compute     = "ecs_fargate"
    gateway_tls = null
  }
  expect_failures = [var.gateway_tls]
}

run "no_page_for_the_whole_internet" {
  command = plan
  variables {
    compute             = "apprunner"
    mlflow_client_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.mlflow_client_cidrs]
}
