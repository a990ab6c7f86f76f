output "alarm_names" {
  description = "The alarms of this module."
  value = concat(
    [for alarm in aws_cloudwatch_metric_alarm.simple : alarm.alarm_name],
    [aws_cloudwatch_metric_alarm.no_healthy_instance.alarm_name],
  )
}
