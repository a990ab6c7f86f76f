variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, account_id = string, boundary_arn = string, region = string })
  nullable    = false
}

variable "run" {
  description = "Run the jobs within the apply; false where they are run by hand."
  type        = bool
}

variable "deploy_folder" {
  description = "Folder of run_job.py."
  type        = string
  nullable    = false
}

variable "cluster_arn" {
  description = "The ECS cluster."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Where the jobs run."
  type        = list(string)
  nullable    = false
}

variable "security_group_id" {
  description = "What the jobs may reach."
  type        = string
  nullable    = false
}

variable "images" {
  description = "The images of the pipelines and of MLflow, by digest, and their repositories."
  type = object({
    pipelines = object({ uri = string, repository_arn = string })
    mlflow    = object({ uri = string, repository_arn = string })
  })
  nullable = false
}

variable "databases" {
  description = "PostgreSQL user to the database that it owns."
  type        = map(string)
  nullable    = false
}

variable "database_address" {
  description = "PostgreSQL's host name."
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

variable "master_secret_arn" {
  description = "The master user's secret."
  type        = string
  nullable    = false
}

variable "secrets_version" {
  description = "The secrets' version: a higher one sets the new passwords."
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
