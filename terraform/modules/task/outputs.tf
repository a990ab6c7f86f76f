output "arn" {
  description = "This revision."
  value       = aws_ecs_task_definition.job.arn
}

output "arn_without_revision" {
  description = "The newest revision, whichever it is."
  value       = aws_ecs_task_definition.job.arn_without_revision
}

output "family" {
  description = "The family's name."
  value       = aws_ecs_task_definition.job.family
}
