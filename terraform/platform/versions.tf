# A whole environment: the folders of ../environments call this module, each with a state of its own.
terraform {
  required_version = "~> 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
      # the same account and region under a second name, because Terraform's test mocks know no ephemeral resource
      configuration_aliases = [aws.secrets]
    }
  }
}
