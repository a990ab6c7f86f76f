output "url" {
  description = "Where clients reach the gateway."
  value       = module.platform.url
}

output "load_balancer" {
  description = "ECS: what the DNS record of the gateway's host name is an alias of; null on App Runner."
  value       = module.platform.load_balancer
}

output "service_arn" {
  description = "The gateway's service."
  value       = module.platform.service_arn
}

output "image_digests" {
  description = "The images that were applied, by digest."
  value       = module.platform.image_digests
}

output "log_group" {
  description = "Where the gateway's lines go."
  value       = module.platform.log_group
}

output "mlflow_url" {
  description = "MLflow's page, inside the network."
  value       = module.platform.mlflow_url
}

output "bucket" {
  description = "Artifacts, releases, data and exports."
  value       = module.platform.bucket
}

output "bootstrap_key_secret" {
  description = "Secret with the gateway's first API key, which the smoke test takes until it has its own."
  value       = module.platform.bootstrap_key_secret
}

output "models_live" {
  description = "Whether a model is promoted, so that the smoke test can ask for predictions."
  value       = module.platform.models_live
}

output "private" {
  description = "Whether clients, and so the smoke test, must stand in a network of gateway.client_cidrs."
  value       = module.platform.private
}
