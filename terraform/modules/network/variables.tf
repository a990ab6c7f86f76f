variable "context" {
  description = "What every module knows of the platform."
  type        = object({ name = string, account_id = string, partition = string, region = string })
  nullable    = false
}

variable "vpc_cidr" {
  description = "IPv4 network of the VPC."
  type        = string
  nullable    = false
}

variable "public_subnets" {
  description = "Whether a load balancer faces the internet."
  type        = bool
}

variable "client_cidrs" {
  description = "Networks that may reach the gateway's entrance in this network; empty where App Runner's is public."
  type        = list(string)
  nullable    = false
}

variable "apprunner_entrance" {
  description = "Whether App Runner is reached through an endpoint in this network."
  type        = bool
}

variable "mlflow_client_cidrs" {
  description = "Private networks whose people may open MLflow's page."
  type        = list(string)
  nullable    = false
}

variable "training_buckets" {
  description = "Buckets besides the platform's own that jobs read transactions from."
  type        = list(string)
  nullable    = false
}

variable "tunnel" {
  description = "Whether Session Manager is reachable, for a tunnel to MLflow."
  type        = bool
}
