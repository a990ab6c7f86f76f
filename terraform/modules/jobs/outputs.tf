output "undelivered_queue" {
  description = "The queue of runs that never began."
  value       = aws_sqs_queue.undelivered.name
}
