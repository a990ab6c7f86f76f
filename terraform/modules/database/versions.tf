terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
      # the same account and region under a second name, because Terraform's test mocks know no ephemeral resource
      configuration_aliases = [aws.secrets]
    }
  }
}
