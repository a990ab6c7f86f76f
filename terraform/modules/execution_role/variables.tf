variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, account_id = string, boundary_arn = string })
  nullable    = false
}

variable "name" {
  description = "The process that is started; the role's name is the platform's prefix, this and -execution."
  type        = string
  nullable    = false
}

variable "service" {
  description = "The AWS service that starts it: ECS, or App Runner's builder."
  type        = string
  default     = "ecs-tasks.amazonaws.com"

  validation {
    condition     = contains(["ecs-tasks.amazonaws.com", "build.apprunner.amazonaws.com"], var.service)
    error_message = "ecs-tasks.amazonaws.com or build.apprunner.amazonaws.com."
  }
}

variable "repository_arn" {
  description = "The ECR repository of its image."
  type        = string
  nullable    = false
}

variable "log_group_arn" {
  description = "The log group that its lines go to; null where the service writes them by itself."
  type        = string
  default     = null
}

variable "secret_arns" {
  description = "The secrets that become its environment."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "key_arn" {
  description = "The KMS key of those secrets."
  type        = string
  nullable    = false
}
