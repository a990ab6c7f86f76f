# The whole platform as plans with a mocked provider, once for each compute and with every option. What is asserted of
# them stands in tests/terraform/test_platform.py, which reads every resource of every module from these runs.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

# Real, since mocks know no ephemeral resource, but never asked: secrets_version = 0 makes no password.
provider "aws" {
  alias                       = "secrets"
  region                      = "eu-west-3"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name            = "fraud-detection"
  secrets_version = 0
  setup_in_apply  = false
  models_live     = true
  alarm_emails    = ["fraud-platform@example.com"]
  image_digests = {
    gateway   = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
    pipelines = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
    mlflow    = "sha256:3333333333333333333333333333333333333333333333333333333333333333"
  }
  mlflow_tls = {
    certificate_arn = "arn:aws:acm:eu-west-3:123456789012:certificate/1"
    hostname        = "mlflow.fraud.example.com"
  }
  gateway_tls = {
    certificate_arn = "arn:aws:acm:eu-west-3:123456789012:certificate/2"
    hostname        = "fraud.example.com"
  }
}

run "apprunner" {
  command = plan
  variables {
    compute = "apprunner"
    slack   = { team_id = "T0123ABCD", channel_id = "C0123ABCD" }
  }
}

run "ecs_fargate" {
  command = plan
  variables {
    compute = "ecs_fargate"
  }
}

# Every option at once, under another name, before a first model.
run "options" {
  command = plan
  variables {
    name        = "bank-risk"
    compute     = "ecs_fargate"
    models_live = false
    tunnel      = true
    gateway = {
      cpu          = 4096
      memory       = 8192
      private      = true
      client_cidrs = ["10.0.0.0/8"]
      firewall     = true
      access_logs  = true
      environment  = { FRAUD_SHADOW_SHARE = "0.1" }
    }
    gateway_tls = {
      certificate_arn = "arn:aws:acm:eu-west-3:123456789012:certificate/2"
      hostname        = "fraud.example.com"
      zone_id         = "Z0123456789"
    }
    jobs = {
      environment = { FRAUD_TRIALS = "50" }
      sizes       = { retrain = { cpu = 8192, memory = 32768 } }
    }
    registry       = { account_id = "210987654321" }
    training_data  = "s3://bank-data/transactions.parquet"
    monthly_budget = { amount = 900, by_tag = true }
  }
  expect_failures = [check.models_live]
}

run "apprunner_private" {
  command = plan
  variables {
    compute = "apprunner"
    gateway = { private = true, client_cidrs = ["10.0.0.0/8"], firewall = true }
  }
}

run "refused" {
  command = plan
  variables {
    compute             = "ecs_fargate"
    gateway_tls         = null
    image_digests       = { gateway = "latest", pipelines = "latest", mlflow = "latest" }
    mlflow_client_cidrs = ["0.0.0.0/0"]
    gateway             = { rate_limit = "" }
    jobs                = { sizes = { retrain = { cpu = 1000, memory = 1000 } } }
    mlflow_tls = {
      # as the folders of environments have it before anybody edits them
      certificate_arn = "arn:aws:acm:eu-west-3:ACCOUNT:certificate/ID"
      hostname        = "mlflow.fraud.example.com"
    }
  }
  expect_failures = [
    var.gateway_tls, var.image_digests, var.mlflow_client_cidrs, var.gateway, var.jobs, var.mlflow_tls,
  ]
}

run "no_compute_by_itself" {
  command = plan
  variables {
    compute = "lambda"
  }
  expect_failures = [var.compute]
}
