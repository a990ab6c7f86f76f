terraform {
  required_version = "~> 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket and region are the bootstrap's: terraform init -backend-config=backend.hcl
  backend "s3" {
    key          = "platform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = local.region
  default_tags {
    tags = { project = local.name, environment = "production", managed-by = "terraform" }
  }
}

# The same account and region; an alias, because Terraform's test mocks know no ephemeral resource.
provider "aws" {
  alias  = "secrets"
  region = local.region
}
