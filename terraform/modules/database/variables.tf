variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string })
  nullable    = false
}

variable "key" {
  description = "The KMS key of everything at rest."
  type        = object({ arn = string, id = string })
  nullable    = false
}

variable "subnet_ids" {
  description = "Subnets in two zones."
  type        = list(string)
  nullable    = false
}

variable "security_group_id" {
  description = "Who may reach it."
  type        = string
  nullable    = false
}

variable "settings" {
  description = "Instance class, storage in GB, a standby in a second zone, days of backups."
  type        = object({ instance_class = string, storage = number, multi_az = bool, backup_days = number })
  nullable    = false
}

variable "log_days" {
  description = "Days that log lines are kept."
  type        = number
}

variable "protect_data" {
  description = "Refuse to destroy the database, snapshot it before, and keep deleted secrets for 30 days."
  type        = bool
}

variable "secrets_version" {
  description = "A higher number makes new values; 0: a tool of the bank's writes them."
  type        = number
}
