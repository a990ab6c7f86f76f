output "url" {
  description = "Where clients reach the gateway."
  value = "https://${
    var.entrance.private
    ? aws_apprunner_vpc_ingress_connection.gateway[0].domain_name
    : aws_apprunner_service.gateway.service_url
  }"
}

output "service_arn" {
  description = "The service."
  value       = aws_apprunner_service.gateway.arn
}

output "load_balancer" {
  description = "App Runner brings its own name."
  value       = null
}

output "log_group" {
  description = "Where the gateway's lines go; App Runner makes this group itself."
  value       = "/aws/apprunner/${var.gateway.name}/${aws_apprunner_service.gateway.service_id}/application"
}

output "foreign_log_groups" {
  description = "Groups that App Runner makes and keeps without an end."
  value = {
    for kind in ["application", "service"] :
    kind => "/aws/apprunner/${var.gateway.name}/${aws_apprunner_service.gateway.service_id}/${kind}"
  }
}

locals {
  dimensions = { ServiceName = var.gateway.name, ServiceID = aws_apprunner_service.gateway.service_id }
}

output "metrics" {
  description = "Where CloudWatch has the share of CPU in use, the number of instances in use, and of requests."
  value = {
    cpu      = { namespace = "AWS/AppRunner", metric = "CPUUtilization", dimensions = local.dimensions }
    healthy  = { namespace = "AWS/AppRunner", metric = "ActiveInstances", dimensions = local.dimensions }
    requests = { namespace = "AWS/AppRunner", metric = "Requests", dimensions = local.dimensions }
  }
}
