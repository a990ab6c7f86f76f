output "url" {
  description = "Where clients reach the gateway."
  value       = "https://${aws_apprunner_service.gateway.service_url}"
}

output "service_arn" {
  description = "The service."
  value       = aws_apprunner_service.gateway.arn
}

output "log_group" {
  description = "Where the gateway's lines go; App Runner makes this group itself."
  value       = "/aws/apprunner/${var.gateway.name}/${aws_apprunner_service.gateway.service_id}/application"
}

output "other_log_groups" {
  description = "Further groups that the compute makes itself."
  value       = ["/aws/apprunner/${var.gateway.name}/${aws_apprunner_service.gateway.service_id}/service"]
}

output "metrics" {
  description = "Where CloudWatch has the share of CPU in use and the number of healthy instances."
  value = {
    for purpose, metric in { cpu = "CPUUtilization", healthy = "ActiveInstances" } : purpose => {
      namespace                  = "AWS/AppRunner"
      metric                     = metric
      dimensions                 = { ServiceName = var.gateway.name, ServiceID = aws_apprunner_service.gateway.service_id }
    }
  }
}

output "service" {
  description = "The service as it is, for tests."
  value       = aws_apprunner_service.gateway
}

output "scaling" {
  description = "Its scaling, for tests."
  value       = aws_apprunner_auto_scaling_configuration_version.gateway
}
