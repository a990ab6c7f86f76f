mock_provider "aws" {
  source = "./tests/mocks"
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
  secrets_version = 0
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
  variables {
    compute = "apprunner"
  }

  assert {
    condition     = module.gateway_apprunner[0].service.service_name == "fraud-detection-api"
    error_message = "the service keeps its name"
  }
  assert {
    condition     = endswith(output.gateway_image, "@${var.image_digests.gateway}") && module.gateway_apprunner[0].service.source_configuration[0].image_repository[0].image_identifier == output.gateway_image
    error_message = "the image is named by digest"
  }
  assert {
    condition     = module.gateway_apprunner[0].service.instance_configuration[0].cpu == "512" && module.gateway_apprunner[0].service.instance_configuration[0].memory == "1024"
    error_message = "0.5 vCPU, 1024 MB"
  }
  assert {
    condition     = module.gateway_apprunner[0].scaling.min_size == 1 && module.gateway_apprunner[0].scaling.max_size == 3
    error_message = "1 to 3 instances"
  }
  assert {
    condition     = module.gateway_apprunner[0].service.health_check_configuration[0].path == "/health"
    error_message = "the health check asks /health"
  }
  assert {
    condition     = module.gateway_apprunner[0].service.network_configuration[0].egress_configuration[0].egress_type == "VPC"
    error_message = "the gateway speaks through the VPC connector"
  }
  assert {
    condition     = local.trusted.gateway == "tasks.apprunner.amazonaws.com" && local.trusted.gateway-access == "build.apprunner.amazonaws.com"
    error_message = "the instance's role and the access role are two, each for its own part of App Runner"
  }
  assert {
    condition     = length(aws_internet_gateway.public) == 0 && length(aws_subnet.public) == 0
    error_message = "no way to the internet"
  }
  assert {
    condition     = output.log_group == "/aws/apprunner/fraud-detection-api/0123456789abcdef/application" && length(aws_scheduler_schedule.log_retention) == 2
    error_message = "App Runner's own log groups are kept 30 days"
  }
  assert {
    condition     = output.url == "https://0123456789.eu-west-3.awsapprunner.com"
    error_message = "the address is App Runner's"
  }
  assert {
    condition     = length(setintersection(keys(local.gateway_environment), ["FRAUD_DATABASE_URL", "FRAUD_BOOTSTRAP_KEY", "MLFLOW_TRACKING_PASSWORD"])) == 0
    error_message = "secrets are references, never values"
  }
}
