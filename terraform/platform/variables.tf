variable "name" {
  description = "Prefix of every name, as the bootstrap has it for this environment; the service is called NAME-api."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.name))
    error_message = "3 to 20 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "compute" {
  description = "Where the gateway runs: apprunner (accounts that used it before 30 April 2026) or ecs_fargate."
  type        = string

  validation {
    condition     = contains(["apprunner", "ecs_fargate"], var.compute)
    error_message = "apprunner or ecs_fargate."
  }
}

variable "image_digests" {
  description = "Digests of the three images in ECR. A rollback of the image is an apply with the former digest."
  type        = object({ gateway = string, pipelines = string, mlflow = string })

  validation {
    condition     = alltrue([for digest in values(var.image_digests) : can(regex("^sha256:[0-9a-f]{64}$", digest))])
    error_message = "sha256: and 64 hexadecimal digits each; tags move, digests do not."
  }
}

variable "registry" {
  description = <<-EOT
    Where the images lie: account (null: this one) and prefix of the repositories' names. In this region: the network
    has no way to another's registry.
  EOT
  type        = object({ account_id = optional(string), prefix = optional(string, "fraud-detection") })
  default     = {}

  validation {
    condition     = var.registry.account_id == null || can(regex("^[0-9]{12}$", var.registry.account_id))
    error_message = "An account's twelve digits."
  }
}

variable "gateway" {
  description = <<-EOT
    Size and scaling: cpu in 1/1024 vCPU (a worker for each whole one), memory in MB, min and max instances, concurrency
    in requests in progress per instance on App Runner. rate_limit: most requests of one API key per worker, such as
    6000/minute. environment: further variables of the gateway. private: clients come from client_cidrs inside or
    connected to the network alone. firewall: a web firewall, which turns an address away above firewall_requests in
    five minutes. access_logs: the load balancer's, to a bucket (ECS).
  EOT
  type = object({
    cpu               = optional(number, 512)
    memory            = optional(number, 1024)
    min               = optional(number, 1)
    max               = optional(number, 3)
    concurrency       = optional(number, 50)
    rate_limit        = optional(string, "6000/minute")
    environment       = optional(map(string), {})
    private           = optional(bool, false)
    client_cidrs      = optional(list(string), [])
    firewall          = optional(bool, false)
    firewall_requests = optional(number, 10000)
    access_logs       = optional(bool, false)
  })
  default = {}

  validation {
    condition = contains(
      ["512/1024", "1024/2048", "2048/4096", "4096/8192"], "${var.gateway.cpu}/${var.gateway.memory}",
    )
    error_message = "cpu and memory that both App Runner and Fargate know: 512/1024, 1024/2048, 2048/4096 or 4096/8192."
  }
  validation {
    condition     = can(regex("^[1-9][0-9]*/(second|minute|hour)$", var.gateway.rate_limit))
    error_message = "Such as 6000/minute: an address on the internet has a limit."
  }
  validation {
    condition     = !var.gateway.private || length(var.gateway.client_cidrs) > 0
    error_message = "private needs client_cidrs: the networks that clients come from."
  }
  validation {
    condition     = alltrue([for cidr in var.gateway.client_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "IPv4 networks, not the whole internet."
  }
  validation {
    condition     = var.gateway.min >= 1 && var.gateway.min <= var.gateway.max && var.gateway.max <= 25
    error_message = "1 <= min <= max <= 25."
  }
  validation {
    condition     = var.gateway.concurrency >= 1 && var.gateway.concurrency <= 200
    error_message = "concurrency from 1 to 200."
  }
}

variable "gateway_tls" {
  description = "ECS: certificate and host name of the gateway's load balancer, and its zone where Route 53 has it."
  type        = object({ certificate_arn = string, hostname = string, zone_id = optional(string) })
  default     = null

  validation {
    condition     = var.compute != "ecs_fargate" || var.gateway_tls != null
    error_message = "compute = ecs_fargate needs gateway_tls: transactions do not travel in plain text."
  }
  validation {
    condition = var.gateway_tls == null || alltrue([
      can(regex("^[a-z0-9.-]+\\.[a-z]+$", var.gateway_tls.hostname)),
      can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.gateway_tls.certificate_arn)),
    ])
    error_message = "A full host name, and the certificate's ARN as ACM gives it, with region and account."
  }
}

variable "mlflow_tls" {
  description = "Certificate and host name of MLflow's internal load balancer; the name is resolved inside the network."
  type        = object({ certificate_arn = string, hostname = string })

  validation {
    condition = alltrue([
      can(regex("^[a-z0-9.-]+\\.[a-z]+$", var.mlflow_tls.hostname)),
      can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.mlflow_tls.certificate_arn)),
    ])
    error_message = "A full host name, and the certificate's ARN as ACM gives it, with region and account."
  }
}

variable "mlflow" {
  description = "Size of the MLflow server: cpu in 1/1024 vCPU, memory in MB."
  type        = object({ cpu = optional(number, 512), memory = optional(number, 2048) })
  default     = {}

  validation {
    condition = (
      contains([512, 1024, 2048, 4096, 8192, 16384], var.mlflow.cpu) &&
      var.mlflow.memory >= 2 * var.mlflow.cpu && var.mlflow.memory <= 8 * var.mlflow.cpu
    )
    error_message = "Fargate has 512, 1024, 2048, … 16384 of cpu, and 2 to 8 MB of memory for each."
  }
}

variable "jobs" {
  description = "Further environment variables of the jobs, and sizes by job: cpu in 1/1024 vCPU, memory in MB."
  type = object({
    environment = optional(map(string), {})
    sizes       = optional(map(object({ cpu = number, memory = number })), {})
  })
  default = {}

  validation {
    condition = length(setsubtract(
      keys(var.jobs.sizes), ["main", "retrain", "monitor", "rollback", "operate", "gateway-operate"],
    )) == 0
    error_message = "Jobs are main, retrain, monitor, rollback, operate and gateway-operate."
  }
  validation {
    condition = alltrue([for size in values(var.jobs.sizes) : (
      contains([256, 512, 1024, 2048, 4096, 8192, 16384], size.cpu) &&
      size.memory >= 2 * size.cpu && size.memory <= 8 * size.cpu
    )])
    error_message = "Fargate has 256, 512, 1024, … 16384 of cpu, and 2 to 8 MB of memory for each."
  }
}

variable "tunnel" {
  description = "A task and an endpoint of Session Manager, to forward a port to MLflow's page (15 dollars a month)."
  type        = bool
  default     = false
}

variable "mlflow_client_cidrs" {
  description = "Private networks whose people may open MLflow's page, such as a VPN's."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.mlflow_client_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "IPv4 networks, not the whole internet."
  }
}

variable "vpc_cidr" {
  description = "IPv4 network of the VPC, a /16 to /22."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 4, 15)) && can(regex("/(1[6-9]|2[0-2])$", var.vpc_cidr))
    error_message = "An IPv4 network from /16 to /22."
  }
}

variable "database" {
  description = <<-EOT
    RDS for PostgreSQL: instance class, storage in GB, a standby in a second zone, days of backups, and the connections
    above which an alarm rings (a db.t4g.medium refuses the 400th or so).
  EOT
  type = object({
    instance_class   = optional(string, "db.t4g.medium")
    storage          = optional(number, 50)
    multi_az         = optional(bool, true)
    backup_days      = optional(number, 14)
    most_connections = optional(number, 300)
  })
  default = {}

  validation {
    condition     = startswith(var.database.instance_class, "db.") && var.database.storage >= 20
    error_message = "A db. instance class and at least 20 GB."
  }
  validation {
    condition     = var.database.backup_days >= 7 && var.database.backup_days <= 35
    error_message = "backup_days from 7 to 35."
  }
}

variable "protect_data" {
  description = "Refuse to destroy database and bucket while anything is in them, and snapshot the database before."
  type        = bool
  default     = true
}

variable "secrets_version" {
  description = "One higher makes new passwords everywhere, in one apply. 0: the bank's own tool writes the values."
  type        = number
  default     = 1

  validation {
    condition     = var.secrets_version >= 0 && floor(var.secrets_version) == var.secrets_version
    error_message = "A whole number from 0."
  }
}

variable "setup_in_apply" {
  description = <<-EOT
    Run the jobs database and mlflow-setup within the apply, by Python and boto3 on this machine. false: run them by
    hand, before MLflow's first task, after new passwords and with every new image of MLflow.
  EOT
  type        = bool
  default     = true
}

variable "trusted_keys" {
  description = <<-EOT
    Public keys of the promotion, as the job `access key` prints them: the gateway serves no version that bears no
    signature by one. Empty: it asks for none. A higher secrets_version makes another key: list both meanwhile.
  EOT
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for key in var.trusted_keys : can(regex("^ed25519:[A-Za-z0-9_-]{43}$", key))])
    error_message = "Such as ed25519: and 43 letters, as the job access key prints them."
  }
}

variable "models_live" {
  description = "Set once a first model is promoted: then retraining and monitoring run, and their silence rings."
  type        = bool
  default     = false
}

variable "training_data" {
  description = "Where retraining reads its transactions; empty: data/ in the platform's bucket."
  type        = string
  default     = ""

  validation {
    condition     = var.training_data == "" || startswith(var.training_data, "s3://")
    error_message = "An s3:// address; the network has no way to the internet."
  }
}

variable "retraining" {
  description = "EventBridge schedule of retraining, in UTC, and the days without one after which an alarm rings."
  type        = object({ schedule = string, most_days = number })
  default     = { schedule = "cron(0 3 ? * MON,THU *)", most_days = 5 }

  validation {
    condition     = can(regex("^(cron|rate)\\(.+\\)$", var.retraining.schedule))
    error_message = "cron(...) or rate(...)."
  }
  validation {
    condition     = var.retraining.most_days >= 1 && var.retraining.most_days <= 7
    error_message = "most_days from 1 to 7, as far back as CloudWatch looks; longer than the schedule's longest gap."
  }
}

variable "monitoring_hours" {
  description = "Hours between two runs of the drift monitor."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 3, 4, 6, 8, 12], var.monitoring_hours)
    error_message = "1, 2, 3, 4, 6, 8 or 12."
  }
}

variable "alarm_emails" {
  description = "Addresses that alarms and budget notices go to; each confirms by a link."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "E-mail addresses."
  }
}

variable "slack" {
  description = "Slack workspace and channel for alarms, once the chat console has authorised the workspace."
  type        = object({ team_id = string, channel_id = string })
  default     = null

  validation {
    condition = var.slack == null || alltrue([
      can(regex("^[A-Z0-9]{8,}$", var.slack.team_id)), can(regex("^[A-Z0-9]{8,}$", var.slack.channel_id)),
    ])
    error_message = "Slack's own ids, such as T0123ABCD and C0123ABCD."
  }
}

variable "monthly_budget" {
  description = <<-EOT
    US dollars a month; a notice goes out at 80 % spent and at 100 % forecast. by_tag: count what bears the tag project
    alone, once it is a cost allocation tag; else the whole account.
  EOT
  type        = object({ amount = optional(number, 400), by_tag = optional(bool, false) })
  default     = {}

  validation {
    condition     = var.monthly_budget.amount > 0
    error_message = "More than nothing."
  }
}
