variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, account_id = string, boundary_arn = string })
  nullable    = false
}

variable "name" {
  description = "The role's name after the platform's prefix."
  type        = string
  nullable    = false
}

variable "service" {
  description = "The AWS service that assumes the role, such as ecs-tasks.amazonaws.com."
  type        = string

  validation {
    condition     = endswith(var.service, ".amazonaws.com")
    error_message = "An AWS service's principal."
  }
}

variable "policies" {
  description = "Inline policies as JSON, by name."
  type        = map(string)
  default     = {}
  nullable    = false
}
