output "topic_arn" {
  description = "The topic of alarms, once CloudWatch and Budgets may publish to it."
  value       = aws_sns_topic.alarms.arn
  depends_on  = [aws_sns_topic_policy.alarms]
}

output "traffic_alarms" {
  description = "Names of the alarms on errors and latency."
  value       = [aws_cloudwatch_metric_alarm.errors.alarm_name, aws_cloudwatch_metric_alarm.latency.alarm_name]
}
