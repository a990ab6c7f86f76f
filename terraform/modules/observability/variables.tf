variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, region = string })
  nullable    = false
}

variable "metrics" {
  description = "Namespace and dimensions of the gateway's own figures."
  type        = object({ namespace = string, dimensions = map(string) })
  nullable    = false
}

variable "gateway" {
  description = "The gateway's log group, and where CloudWatch has its CPU, healthy instances, requests (App Runner)."
  type = object({
    log_group = string
    metrics = object({
      cpu      = object({ namespace = string, metric = string, dimensions = map(string) })
      healthy  = object({ namespace = string, metric = string, dimensions = map(string) })
      requests = optional(object({ namespace = string, metric = string, dimensions = map(string) }))
    })
  })
  nullable = false
}

variable "mlflow_load_balancer" {
  description = "Dimensions of MLflow's target group."
  type        = map(string)
  nullable    = false
}

variable "database_identifier" {
  description = "RDS's name of the database."
  type        = string
  nullable    = false
}

variable "most_connections" {
  description = "Connections to the database above which an alarm rings."
  type        = number
}

variable "undelivered_queue" {
  description = "The queue of runs that never began."
  type        = string
  nullable    = false
}

variable "topic_arn" {
  description = "Where alarms and budget notices go."
  type        = string
  nullable    = false
}

variable "models_live" {
  description = "Whether missing runs ring."
  type        = bool
}

variable "retraining_days" {
  description = "Days without a finished retraining after which an alarm rings."
  type        = number
}

variable "monitoring_hours" {
  description = "Hours between two runs of the drift monitor."
  type        = number
}

variable "budget" {
  description = "US dollars a month, and whether only what bears the platform's tag counts."
  type        = object({ amount = number, by_tag = bool })
  nullable    = false
}
