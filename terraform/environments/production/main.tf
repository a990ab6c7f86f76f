# Production's settings. Edit them by pull request: it shows what Terraform would change. Every setting of
# ../../platform/variables.tf may be added.
locals {
  # a file, because workflows and scripts read it as well
  name   = trimspace(file("${path.module}/name"))
  region = "eu-west-3"
}

module "platform" {
  source    = "../../platform"
  providers = { aws = aws, aws.secrets = aws.secrets }

  name          = local.name
  image_digests = var.image_digests

  # accounts that used App Runner before 30 April 2026 may say apprunner, which needs no gateway_tls
  compute = "ecs_fargate"
  gateway = { cpu = 512, memory = 1024, min = 1, max = 3 }
  gateway_tls = {
    certificate_arn = "arn:aws:acm:eu-west-3:ACCOUNT:certificate/ID"
    hostname        = "fraud.example.com"
  }
  mlflow_tls = {
    certificate_arn = "arn:aws:acm:eu-west-3:ACCOUNT:certificate/ID"
    hostname        = "mlflow.fraud.example.com"
  }

  # true once a first model is promoted: schedules run, and their silence rings
  models_live = false

  # one higher makes new passwords everywhere
  secrets_version = 1

  alarm_emails   = ["fraud-platform@example.com"]
  monthly_budget = { amount = 400 }
}
