output "url" {
  description = "Where clients reach the gateway, once its host name is an alias of the load balancer."
  value       = "https://${var.entry.hostname}"
}

output "service_arn" {
  description = "The service."
  value       = aws_ecs_service.gateway.id
}

output "log_group" {
  description = "Where the gateway's lines go."
  value       = var.log_group
}

output "other_log_groups" {
  description = "Further groups that the compute makes itself."
  value       = []
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

output "service" {
  description = "The service as it is, for tests."
  value       = aws_ecs_service.gateway
}

output "definition" {
  description = "Its task definition, for tests."
  value       = aws_ecs_task_definition.gateway
}

output "scaling" {
  description = "Its scaling, for tests."
  value       = aws_appautoscaling_target.gateway
}

output "listener" {
  description = "What listens, for tests."
  value       = aws_lb_listener.https
}
