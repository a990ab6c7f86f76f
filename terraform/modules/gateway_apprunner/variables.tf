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
  description = "Whether clients come from the network alone, through which endpoint, and the web firewall before it."
  type = object({
    private      = bool
    vpc_id       = string
    endpoint_id  = string
    firewall     = bool
    firewall_arn = string
  })
  nullable = false
}
