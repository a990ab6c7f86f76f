output "url" {
  description = "Where clients reach the gateway."
  value       = local.gateway.url
}

output "load_balancer" {
  description = "ECS: what the DNS record of the gateway's host name is an alias of; null on App Runner."
  value       = local.gateway.load_balancer
}

output "service_arn" {
  description = "The gateway's service."
  value       = local.gateway.service_arn
}

output "image_digests" {
  description = "The images that were applied, by digest."
  value       = var.image_digests
}

output "log_group" {
  description = "Where the gateway's lines go."
  value       = local.gateway.log_group
}

output "mlflow_url" {
  description = "MLflow's page, inside the network."
  value       = module.mlflow.url
}

output "bucket" {
  description = "Artifacts, releases, data and exports."
  value       = module.storage.bucket
}

output "bootstrap_key_secret" {
  description = "Secret with the gateway's first API key, which the smoke test takes until it has its own."
  value       = module.database.bootstrap_key_secret
}

output "models_live" {
  description = "Whether schedules run, and the smoke test can ask for predictions."
  value       = var.models_live
}

output "private" {
  description = "Whether clients, and so the smoke test, must stand in a network of gateway.client_cidrs."
  value       = var.gateway.private
}
