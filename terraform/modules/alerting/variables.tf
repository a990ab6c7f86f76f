variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, account_id = string, boundary_arn = string, partition = string })
  nullable    = false
}

variable "key_id" {
  description = "The KMS key of the topic."
  type        = string
  nullable    = false
}

variable "emails" {
  description = "Addresses that alarms and budget notices go to; each confirms by a link."
  type        = list(string)
  nullable    = false
}

variable "slack" {
  description = "Slack workspace and channel; null: none."
  type        = object({ team_id = string, channel_id = string })
}

variable "metrics" {
  description = "Namespace and dimensions of the gateway's own figures."
  type        = object({ namespace = string, dimensions = map(string) })
  nullable    = false
}
