output "url" {
  description = "MLflow's address inside the network."
  value       = "https://${local.hostname}"
  depends_on  = [aws_ecs_service.mlflow, aws_route53_record.mlflow]
}

output "load_balancer" {
  description = "Load balancer and target group, as CloudWatch names them."
  value       = { LoadBalancer = aws_lb.mlflow.arn_suffix, TargetGroup = aws_lb_target_group.mlflow.arn_suffix }
}
