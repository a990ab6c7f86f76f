variable "gateway" {
  description = "What the gateway is, whatever it runs on; ../../platform/gateway.tf fills it."
  type = object({
    name        = string
    image       = string
    size        = object({ cpu = number, memory = number, min = number, max = number, concurrency = number })
    environment = map(string)
    secrets     = map(string)
    roles       = object({ instance = string, execution = string })
    key_arn     = string
    network     = object({ subnet_ids = list(string), security_group_id = string })
  })

  validation {
    condition     = strcontains(var.gateway.image, "@sha256:")
    error_message = "The image is named by digest."
  }
}

variable "entrance" {
  description = "The load balancer: where it stands, its name and certificate, and the options before it."
  type = object({
    private            = bool
    vpc_id             = string
    subnet_ids         = list(string)
    security_group_id  = string
    certificate_arn    = string
    hostname           = string
    zone_id            = string
    access_logs        = bool
    access_logs_bucket = string
    firewall           = bool
    firewall_arn       = string
    protect            = bool
  })
  nullable = false

  validation {
    condition     = length(var.entrance.subnet_ids) >= 2
    error_message = "A load balancer spans two zones."
  }
}

variable "cluster" {
  description = "The ECS cluster."
  type        = object({ arn = string, name = string })
  nullable    = false
}

variable "rollback_alarms" {
  description = "Alarms on which a deployment goes back."
  type        = list(string)
  nullable    = false
}

variable "region" {
  description = "AWS region, for the log driver."
  type        = string
  nullable    = false
}

variable "log_days" {
  description = "Days that log lines are kept."
  type        = number
}
