# What starts in a subnet pulls its image and reads its secrets at once: a subnet leaves here with its endpoints.
output "private_subnet_ids" {
  description = "Subnets of every process, once AWS's services can be reached from them."
  value       = [for subnet in aws_subnet.private : subnet.id]
  depends_on = [
    aws_route_table_association.private,
    aws_vpc_endpoint.s3,
    aws_vpc_endpoint.service,
    aws_vpc_security_group_egress_rule.way,
    aws_vpc_security_group_ingress_rule.way,
    aws_vpc_security_group_egress_rule.s3,
  ]
}

output "public_subnet_ids" {
  description = "Subnets of a load balancer that faces the internet, with their route."
  value       = [for subnet in aws_subnet.public : subnet.id]
  depends_on  = [aws_route_table_association.public]
}

output "vpc_id" {
  description = "The network."
  value       = aws_vpc.platform.id
}

output "security_group_ids" {
  description = "Security groups by member: entrance, gateway, jobs, mlflow, mlflow-entry, database, endpoints."
  value       = { for member, group in aws_security_group.member : member => group.id }
}

output "apprunner_endpoint_id" {
  description = "The endpoint through which App Runner is reached privately; null without one."
  value       = var.apprunner_entrance ? aws_vpc_endpoint.service["apprunner.requests"].id : null
}
