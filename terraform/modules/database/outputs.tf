# A secret's ARN leaves this module once the secret has a value: a task that starts before would not start at all.
output "database_secret_arns" {
  description = "By PostgreSQL user: JSON with password and url (pipelines: decisions_url too)."
  value       = { for user, secret in aws_secretsmanager_secret.database : user => secret.arn }
  depends_on  = [aws_secretsmanager_secret_version.database]
}

output "application_secret_arns" {
  description = "By purpose: bootstrap-key, mlflow- admin, gateway, pipelines, promotion and session, signing-key."
  value       = { for name, secret in aws_secretsmanager_secret.application : name => secret.arn }
  depends_on  = [aws_secretsmanager_secret_version.application]
}

output "bootstrap_key_secret" {
  description = "Name of the secret with the gateway's first API key."
  value       = aws_secretsmanager_secret.application["bootstrap-key"].name
}

output "master_secret_arn" {
  description = "RDS's own secret of the master user."
  value       = aws_db_instance.platform.master_user_secret[0].secret_arn
}

output "address" {
  description = "The server's host name."
  value       = aws_db_instance.platform.address
}

output "identifier" {
  description = "RDS's name of the instance."
  value       = aws_db_instance.platform.identifier
}

output "databases" {
  description = "PostgreSQL user to the database that it owns."
  value       = local.databases
}
