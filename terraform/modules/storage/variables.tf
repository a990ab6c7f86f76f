variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, account_id = string, partition = string, region = string })
  nullable    = false
}

variable "protect_data" {
  description = "Refuse to destroy the bucket while anything is in it."
  type        = bool
}
