# Whatever logs in to PostgreSQL or MLflow takes this as its secrets' version, and so waits for the users to exist.
output "secrets_version" {
  description = "The version of the secrets with which PostgreSQL and MLflow let their users in."
  value       = var.secrets_version
  depends_on  = [terraform_data.databases, terraform_data.mlflow]
}
