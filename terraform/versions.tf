terraform {
  required_version = "~> 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket and region come from the bootstrap: terraform init -backend-config=backend.hcl
  backend "s3" {
    key          = "platform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name, managed-by = "terraform" }
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account  = data.aws_caller_identity.current.account_id
  prefix   = "arn:${data.aws_partition.current.partition}"
  service  = "${var.name}-api"
  boundary = "${local.prefix}:iam::${local.account}:policy/${var.name}-boundary"
}
