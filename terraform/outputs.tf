output "url" {
  description = "Where clients reach the gateway."
  value       = local.gateway.url
}

output "service_arn" {
  description = "The gateway's service."
  value       = local.gateway.service_arn
}

output "gateway_image" {
  description = "The image that runs, by digest."
  value       = local.images["gateway"]
}

output "log_group" {
  description = "Where the gateway's lines go."
  value       = local.gateway.log_group
}

output "mlflow_url" {
  description = "MLflow's page, inside the network."
  value       = local.mlflow_url
}

output "bucket" {
  description = "Artifacts, releases and data."
  value       = aws_s3_bucket.platform.bucket
}

output "bootstrap_key_secret" {
  description = "Secret with the gateway's first API key, which the smoke test uses."
  value       = aws_secretsmanager_secret.single["bootstrap-key"].name
}

output "jobs_network" {
  description = "Subnets and security group of the jobs, for the GitHub variable JOBS_NETWORK."
  value = jsonencode({
    subnets        = [for subnet in aws_subnet.private : subnet.id]
    securityGroups = [aws_security_group.member["jobs"].id]
  })
}
