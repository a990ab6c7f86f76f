variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, region = string })
  nullable    = false
}

variable "job" {
  description = "The job's name; its family is the platform's prefix and this."
  type        = string
  nullable    = false
}

variable "image" {
  description = "The image, by digest."
  type        = string

  validation {
    condition     = strcontains(var.image, "@sha256:")
    error_message = "The image is named by digest."
  }
}

variable "size" {
  description = "cpu in 1/1024 vCPU, memory in MB."
  type        = object({ cpu = number, memory = number })
  nullable    = false
}

variable "entry_point" {
  description = "Program that runs the command; null: the image's own."
  type        = list(string)
}

variable "command" {
  description = "Arguments that a run may replace."
  type        = list(string)
  nullable    = false
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
  nullable    = false
}

variable "secrets" {
  description = "Environment variables whose values are secrets: ARN, or ARN:field::."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "task_role_arn" {
  description = "What the job itself may do; null: nothing."
  type        = string
  default     = null
}

variable "execution_role_arn" {
  description = "Pulls the image, writes the log, reads the secrets."
  type        = string
  nullable    = false
}

variable "log_group" {
  description = "Where its lines go."
  type        = string
  nullable    = false
}

variable "read_only" {
  description = "A read-only root; ECS Exec, on which the tunnel stands, needs one that can be written to."
  type        = bool
  default     = true
}
