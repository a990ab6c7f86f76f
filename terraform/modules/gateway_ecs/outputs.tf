output "url" {
  description = "Where clients reach the gateway, once its host name is an alias of the load balancer."
  value       = "https://${var.entrance.hostname}"
}

output "service_arn" {
  description = "The service."
  value       = aws_ecs_service.gateway.id
}

output "load_balancer" {
  description = "What the host name's DNS record is an alias of: name and hosted zone, and what the record is to be."
  value = {
    dns_name = aws_lb.gateway.dns_name
    zone_id  = aws_lb.gateway.zone_id
    record   = "${var.entrance.hostname} CNAME ${aws_lb.gateway.dns_name}"
    made     = var.entrance.zone_id != null
  }
}

output "log_group" {
  description = "Where the gateway's lines go."
  value       = aws_cloudwatch_log_group.gateway.name
}

output "foreign_log_groups" {
  description = "Groups that the compute makes itself: none."
  value       = {}
}

output "metrics" {
  description = "Where CloudWatch has the share of CPU in use and the number of healthy instances."
  value = {
    cpu = {
      namespace  = "AWS/ECS"
      metric     = "CPUUtilization"
      dimensions = { ClusterName = var.cluster.name, ServiceName = aws_ecs_service.gateway.name }
    }
    healthy = {
      namespace  = "AWS/ApplicationELB"
      metric     = "HealthyHostCount"
      dimensions = { LoadBalancer = aws_lb.gateway.arn_suffix, TargetGroup = aws_lb_target_group.gateway.arn_suffix }
    }
  }
}
