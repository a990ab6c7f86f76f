output "arn" {
  description = "The role, once it may do what its policies say."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_iam_role_policy.this]
}
