variable "name" {
  description = "The firewall's name."
  type        = string
  nullable    = false
}

variable "requests_per_5_minutes" {
  description = "Requests of one address in five minutes above which it is turned away."
  type        = number

  validation {
    condition     = var.requests_per_5_minutes >= 10
    error_message = "At least 10, as WAF wants it."
  }
}
