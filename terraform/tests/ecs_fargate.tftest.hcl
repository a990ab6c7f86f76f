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

run "ecs_fargate" {
  variables {
    compute = "ecs_fargate"
  }

  assert {
    condition     = module.gateway_ecs[0].service.name == "fraud-detection-api" && length(module.gateway_apprunner) == 0
    error_message = "the service keeps its name, and there is one compute"
  }
  assert {
    condition     = jsondecode(module.gateway_ecs[0].definition.container_definitions)[0].image == output.gateway_image
    error_message = "the image is named by digest"
  }
  assert {
    condition     = jsondecode(module.gateway_ecs[0].definition.container_definitions)[0].readonlyRootFilesystem
    error_message = "the root file system is read-only"
  }
  assert {
    condition     = module.gateway_ecs[0].definition.cpu == "512" && module.gateway_ecs[0].definition.memory == "1024"
    error_message = "0.5 vCPU, 1024 MB"
  }
  assert {
    condition     = module.gateway_ecs[0].scaling.min_capacity == 1 && module.gateway_ecs[0].scaling.max_capacity == 3
    error_message = "1 to 3 instances"
  }
  assert {
    condition     = module.gateway_ecs[0].service.deployment_circuit_breaker[0].enable && module.gateway_ecs[0].service.deployment_circuit_breaker[0].rollback
    error_message = "a deployment that does not become healthy goes back by itself"
  }
  assert {
    condition     = module.gateway_ecs[0].listener.protocol == "HTTPS" && module.gateway_ecs[0].listener.port == 443 && module.gateway_ecs[0].listener.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    error_message = "TLS 1.2 at least, and nothing else listens"
  }
  assert {
    condition     = !module.gateway_ecs[0].service.network_configuration[0].assign_public_ip
    error_message = "instances have no public address"
  }
  assert {
    condition     = alltrue([for role in ["gateway", "gateway-access"] : local.trusted[role] == "ecs-tasks.amazonaws.com"])
    error_message = "both roles are for ECS"
  }
  assert {
    condition     = length(aws_subnet.public) == 2 && length(aws_scheduler_schedule.log_retention) == 0
    error_message = "the load balancer's subnets, and log groups of our own"
  }
  assert {
    condition     = output.url == "https://fraud.example.com" && output.log_group == "/ecs/fraud-detection-api"
    error_message = "the same outputs as with App Runner"
  }
}
