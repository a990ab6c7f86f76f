# Values are made by Secrets Manager and written through write-only arguments: they are in no plan and no state.
locals {
  # user = the one database that it owns
  databases = {
    mlflow       = "tracking"
    mlflow_users = "tracking_users"
    gateway      = "decisions"
    pipelines    = "study"
  }
  logins = { for user in keys(local.databases) : user => "${startswith(user, "mlflow") ? "postgresql+psycopg" : "postgresql"}://${user}" }
  single_secrets = {
    bootstrap-key  = "The gateway's first API key"
    mlflow-admin   = "Password of MLflow's user admin"
    mlflow-session = "What MLflow signs its sessions with"
  }
}

locals {
  written = toset(var.secrets_version > 0 ? concat(keys(local.databases), keys(local.single_secrets)) : [])
}

# The same account and region; an alias, because Terraform's test mocks know no ephemeral resource.
provider "aws" {
  alias  = "secrets"
  region = var.region
}

ephemeral "aws_secretsmanager_random_password" "value" {
  provider            = aws.secrets
  for_each            = local.written
  password_length     = 48
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "database" {
  #checkov:skip=CKV2_AWS_57:rotated by a higher version and the job database, since running processes hold the password
  for_each                = local.databases
  name                    = "${var.name}/database/${each.key}"
  description             = "PostgreSQL user ${each.key}: its password and the address of its database"
  kms_key_id              = aws_kms_key.platform.arn
  recovery_window_in_days = var.protect_data ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "database" {
  for_each                 = { for user, database in local.databases : user => database if contains(local.written, user) }
  secret_id                = aws_secretsmanager_secret.database[each.key].id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = jsonencode({
    password = ephemeral.aws_secretsmanager_random_password.value[each.key].random_password
    url      = "${local.logins[each.key]}:${ephemeral.aws_secretsmanager_random_password.value[each.key].random_password}@${aws_db_instance.platform.endpoint}/${each.value}?sslmode=require"
    # what the pipelines may only read
    decisions_url = each.key != "pipelines" ? null : "${local.logins[each.key]}:${ephemeral.aws_secretsmanager_random_password.value[each.key].random_password}@${aws_db_instance.platform.endpoint}/${local.databases.gateway}?sslmode=require"
  })
}

resource "aws_secretsmanager_secret" "single" {
  #checkov:skip=CKV2_AWS_57:rotated by a higher version and a deployment; see docs/aws.md
  for_each                = local.single_secrets
  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = aws_kms_key.platform.arn
  recovery_window_in_days = var.protect_data ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "single" {
  for_each                 = { for name, text in local.single_secrets : name => text if contains(local.written, name) }
  secret_id                = aws_secretsmanager_secret.single[each.key].id
  secret_string_wo_version = var.secrets_version
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.value[each.key].random_password
}
