variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, account_id = string, boundary_arn = string, region = string })
  nullable    = false
}

variable "image" {
  description = "MLflow's image by digest, and its repository."
  type        = object({ uri = string, repository_arn = string })
  nullable    = false
}

variable "size" {
  description = "cpu in 1/1024 vCPU, memory in MB."
  type        = object({ cpu = number, memory = number })
  nullable    = false
}

variable "tls" {
  description = "Certificate and host name; the name is resolved inside the network."
  type        = object({ certificate_arn = string, hostname = string })
  nullable    = false
}

variable "cluster_arn" {
  description = "The ECS cluster."
  type        = string
  nullable    = false
}

variable "vpc_id" {
  description = "The network."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Where its task and its load balancer stand."
  type        = list(string)
  nullable    = false
}

variable "security_group_ids" {
  description = "Security groups by member of the network."
  type        = map(string)
  nullable    = false
}

variable "bucket" {
  description = "The bucket of its artifacts."
  type        = string
  nullable    = false
}

variable "bucket_policy" {
  description = "What it may do there."
  type        = string
  nullable    = false
}

variable "database_secret_arns" {
  description = "Secrets by PostgreSQL user."
  type        = map(string)
  nullable    = false
}

variable "application_secret_arns" {
  description = "Secrets by purpose."
  type        = map(string)
  nullable    = false
}

variable "secrets_version" {
  description = "The setup's: known once databases, tables and users are there."
  type        = number
}

variable "key_arn" {
  description = "The KMS key of logs and secrets."
  type        = string
  nullable    = false
}

variable "log_days" {
  description = "Days that log lines are kept."
  type        = number
}

variable "protect_data" {
  description = "Refuse to destroy the load balancer."
  type        = bool
}
