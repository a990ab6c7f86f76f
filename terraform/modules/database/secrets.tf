# Values are made by Secrets Manager and written through write-only arguments: they are in no plan and no state.
locals {
  # user = the one database that it owns
  databases = {
    mlflow       = "tracking"
    mlflow_users = "tracking_users"
    gateway      = "decisions"
    pipelines    = "study"
  }
  # MLflow's SQLAlchemy wants the driver named; the gateway and the pipelines choose theirs
  logins = {
    for user in keys(local.databases) :
    user => "${startswith(user, "mlflow") ? "postgresql+psycopg" : "postgresql"}://${user}"
  }
  # the certificate must be RDS's own and name this very host; the images hold RDS's authorities
  tls = "sslmode=verify-full&sslrootcert=/app/rds-ca.pem"
  application_secrets = {
    bootstrap-key    = "The gateway's first API key"
    mlflow-admin     = "Password of MLflow's user admin"
    mlflow-gateway   = "Password of MLflow's user gateway, who reads"
    mlflow-pipelines = "Password of MLflow's user pipelines, who trains, registers and monitors"
    mlflow-promotion = "Password of MLflow's user promotion, who moves Production"
    mlflow-session   = "What MLflow signs its sessions with"
    signing-key      = "What the promotion signs with what it lets pass"
  }
  names = concat(keys(local.databases), keys(local.application_secrets))
}

ephemeral "aws_secretsmanager_random_password" "value" {
  provider            = aws.secrets
  for_each            = toset(var.secrets_version > 0 ? local.names : [])
  password_length     = 48
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "database" {
  #checkov:skip=CKV2_AWS_57:rotated by a higher secrets_version (docs/aws-operate.md): processes hold the password
  for_each                = local.databases
  name                    = "${local.name}/database/${each.key}"
  description             = "PostgreSQL user ${each.key}: its password and the address of its database"
  kms_key_id              = var.key.arn
  recovery_window_in_days = var.protect_data ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "database" {
  for_each                 = var.secrets_version > 0 ? local.databases : {}
  secret_id                = aws_secretsmanager_secret.database[each.key].id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = jsonencode({
    for name, value in {
      password = ephemeral.aws_secretsmanager_random_password.value[each.key].random_password
      url      = "${each.value}?${local.tls}"
      # the gateway's decisions, of which the pipelines read everything and write leases alone
      decisions_url = each.key == "pipelines" ? "${local.databases.gateway}?${local.tls}" : null
      } : name => name == "password" ? value : join("", [
        local.logins[each.key], ":", ephemeral.aws_secretsmanager_random_password.value[each.key].random_password,
        "@", aws_db_instance.platform.endpoint, "/", value,
    ]) if value != null
  })
}

resource "aws_secretsmanager_secret" "application" {
  #checkov:skip=CKV2_AWS_57:rotated by a higher secrets_version (docs/aws-operate.md): processes hold the value
  for_each                = local.application_secrets
  name                    = "${local.name}/${each.key}"
  description             = each.value
  kms_key_id              = var.key.arn
  recovery_window_in_days = var.protect_data ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "application" {
  for_each                 = var.secrets_version > 0 ? local.application_secrets : {}
  secret_id                = aws_secretsmanager_secret.application[each.key].id
  secret_string_wo_version = var.secrets_version
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.value[each.key].random_password
}
