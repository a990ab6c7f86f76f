output "log_group" {
  description = "Where jobs write their lines."
  value       = aws_cloudwatch_log_group.jobs.name
}

output "undelivered_queue" {
  description = "The queue of runs that never began."
  value       = aws_sqs_queue.undelivered.name
}

output "families" {
  description = "Task definition families by job."
  value = merge(
    { for job, task in module.task : job => task.family },
    { for job, task in module.gateway_task : job => task.family },
    { for task in module.tunnel_task : "tunnel" => task.family },
  )
}
