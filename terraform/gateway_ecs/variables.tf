variable "gateway" {
  description = "What the gateway is, whatever it runs on; ../gateway.tf fills it."
  type = object({
    name        = string
    image       = string
    size        = object({ cpu = number, memory = number, min = number, max = number, concurrency = number })
    environment = map(string)
    secrets     = map(string)
    roles       = object({ instance = string, access = string })
    key_arn     = string
    network     = object({ subnet_ids = list(string), security_group_id = string })
  })

  validation {
    condition     = strcontains(var.gateway.image, "@sha256:")
    error_message = "The image is named by digest."
  }
}

variable "entry" {
  description = "The public load balancer: network, subnets, certificate and host name, and whether it refuses to be destroyed."
  type        = object({ vpc_id = string, subnet_ids = list(string), certificate_arn = string, hostname = string, protect = bool })

  validation {
    condition     = length(var.entry.subnet_ids) >= 2
    error_message = "A load balancer spans two zones."
  }
}

variable "cluster" {
  description = "The ECS cluster."
  type        = object({ id = string, name = string })

  validation {
    condition     = var.cluster.name != ""
    error_message = "The cluster's name."
  }
}

variable "log_group" {
  description = "Log group of the gateway's lines."
  type        = string

  validation {
    condition     = startswith(var.log_group, "/ecs/")
    error_message = "A group under /ecs/."
  }
}

variable "region" {
  description = "AWS region, for the log driver."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region's code, such as eu-west-3."
  }
}
