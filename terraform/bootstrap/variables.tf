variable "name" {
  description = "Prefix of every name; the gateway's service and repository are called NAME-api."
  type        = string
  default     = "fraud-detection"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.name))
    error_message = "3 to 20 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-west-3"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region's code, such as eu-west-3."
  }
}

variable "github_repository" {
  description = "GitHub repository, owner/name, whose workflows may take on the roles."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "owner/name; no wildcard, else other people's repositories could get in."
  }
}

variable "github_branch" {
  description = "Branch whose workflows may push images and deploy them."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.github_branch))
    error_message = "A branch's name without wildcards."
  }
}

variable "github_environments" {
  description = "GitHub environments: apply runs Terraform and needs reviewers, models trains and rolls back models."
  type        = object({ apply = string, models = string })
  default     = { apply = "production", models = "models" }

  validation {
    condition     = alltrue([for name in values(var.github_environments) : can(regex("^[A-Za-z0-9_-]+$", name))])
    error_message = "Names of letters, digits, hyphens and underscores, without wildcards."
  }
}

variable "create_oidc_provider" {
  description = "false where the account has GitHub's OIDC provider already; an account can have it once."
  type        = bool
  default     = true
}

variable "protect_data" {
  description = "Refuse to destroy the state bucket and repositories while anything is in them."
  type        = bool
  default     = true
}
