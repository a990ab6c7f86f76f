output "arn" {
  description = "The firewall."
  value       = aws_wafv2_web_acl.gateway.arn
}
