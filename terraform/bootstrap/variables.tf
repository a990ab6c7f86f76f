variable "name" {
  description = "Prefix of the repositories: NAME-api, NAME-pipelines and NAME-mlflow. All environments share them."
  type        = string
  default     = "fraud-detection"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.name))
    error_message = "3 to 20 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "environments" {
  description = "This account's environments: their GitHub environment, and the prefix of every name in them."
  type        = map(string)
  default     = { staging = "fraud-staging", production = "fraud-detection" }

  validation {
    condition = alltrue([for environment, name in var.environments : alltrue([
      can(regex("^[a-z][a-z0-9-]{2,19}$", name)), can(regex("^[A-Za-z0-9_]{1,24}$", environment)),
    ])])
    error_message = "Environment: letters, digits, underscores; prefix: 3 to 20 lower-case letters, digits, hyphens."
  }
  # roles and buckets are bound to PREFIX-*: one prefix must not begin with another
  validation {
    condition = alltrue(flatten([for one in values(var.environments) : [
      for other in values(var.environments) : one == other || !startswith(other, "${one}-")
    ]])) && length(distinct(values(var.environments))) == length(var.environments)
    error_message = "No prefix may be another's beginning: fraud-detection and fraud-detection-staging would not do."
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
  description = <<-EOT
    GitHub repository whose workflows may assume the roles: owner/name, or owner@ID/name@ID for one that was created,
    renamed or transferred since 15 July 2026 (docs/aws.md says how to see which).
  EOT
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+(@[0-9]+)?/[A-Za-z0-9._-]+(@[0-9]+)?$", var.github_repository))
    error_message = "owner/name or owner@ID/name@ID; no wildcard, else other people's repositories could get in."
  }
  validation {
    condition     = contains([0, 2], length(regexall("@", var.github_repository)))
    error_message = "Both ids or none: owner@ID/name@ID."
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

variable "github_role_prefix" {
  description = "Prefix of the roles' names; another one where the account has these from another repository."
  type        = string
  default     = "GitHubActions"

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9]{2,23}$", var.github_role_prefix))
    error_message = "3 to 24 letters and digits, beginning with a letter."
  }
}

variable "reader_account_ids" {
  description = "Other accounts whose environments run these images; they pull by digest."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for account in var.reader_account_ids : can(regex("^[0-9]{12}$", account))])
    error_message = "Twelve digits each."
  }
}

variable "create_oidc_provider" {
  description = "false where the account has GitHub's OIDC provider already; an account can have it once."
  type        = bool
  default     = true
}

variable "protect_data" {
  description = "Refuse to destroy the state buckets and repositories while anything is in them."
  type        = bool
  default     = true
}
