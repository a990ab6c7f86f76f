variable "context" {
  description = "What every module knows of the platform."
  type = object({
    name         = string
    account_id   = string
    boundary_arn = string
    partition    = string
    region       = string
  })
  nullable = false
}

variable "images" {
  description = "The images of the pipelines and of the gateway, by digest, and their repositories."
  type = object({
    gateway   = object({ uri = string, repository_arn = string })
    pipelines = object({ uri = string, repository_arn = string })
  })
  nullable = false
}

variable "sizes" {
  description = "Sizes of jobs that differ from the default: cpu in 1/1024 vCPU, memory in MB."
  type        = map(object({ cpu = number, memory = number }))
  nullable    = false
}

variable "environment" {
  description = "Further environment variables of the pipelines."
  type        = map(string)
  nullable    = false
}

variable "gateway_environment" {
  description = "The gateway's environment, for its tools."
  type        = map(string)
  nullable    = false
}

variable "cluster_arn" {
  description = "The ECS cluster."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Where jobs run."
  type        = list(string)
  nullable    = false
}

variable "security_group_id" {
  description = "What jobs may reach."
  type        = string
  nullable    = false
}

variable "bucket_arn" {
  description = "The platform's bucket."
  type        = string
  nullable    = false
}

variable "pipelines_bucket_policy" {
  description = "What the pipelines may do in it, and where they may read training data."
  type        = string
  nullable    = false
}

variable "releases_uri" {
  description = "Where promoted bundles lie."
  type        = string
  nullable    = false
}

variable "training_data" {
  description = "Where retraining reads its transactions."
  type        = string
  nullable    = false
}

variable "trusted_keys" {
  description = "Public keys of the promotion."
  type        = list(string)
  nullable    = false
}

variable "mlflow_url" {
  description = "MLflow's address."
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

variable "key_arn" {
  description = "The KMS key of logs, secrets and the queue."
  type        = string
  nullable    = false
}

variable "key_id" {
  description = "The same key by its id."
  type        = string
  nullable    = false
}

variable "retraining_schedule" {
  description = "When retraining runs."
  type        = string
  nullable    = false
}

variable "monitoring_hours" {
  description = "Hours between two runs of the drift monitor."
  type        = number
}

variable "models_live" {
  description = "Whether the schedules run."
  type        = bool
}

variable "metric_namespace" {
  description = "CloudWatch namespace of the platform's own figures."
  type        = string
  nullable    = false
}

variable "foreign_log_groups" {
  description = "Log groups that another service makes and that get an end to what they keep."
  type        = map(string)
  nullable    = false
}

variable "tunnel" {
  description = "Whether there is a task to forward ports through."
  type        = bool
}

variable "log_days" {
  description = "Days that log lines are kept."
  type        = number
}
