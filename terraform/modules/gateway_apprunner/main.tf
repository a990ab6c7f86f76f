# The gateway on App Runner, which brings its own way in, its log and its scaling.
resource "aws_apprunner_auto_scaling_configuration_version" "gateway" {
  auto_scaling_configuration_name = var.gateway.name
  min_size                        = var.gateway.size.min
  max_size                        = var.gateway.size.max
  max_concurrency                 = var.gateway.size.concurrency
}

resource "aws_apprunner_vpc_connector" "gateway" {
  vpc_connector_name = var.gateway.name
  subnets            = var.gateway.network.subnet_ids
  security_groups    = [var.gateway.network.security_group_id]
}

resource "aws_apprunner_service" "gateway" {
  service_name                   = var.gateway.name
  auto_scaling_configuration_arn = aws_apprunner_auto_scaling_configuration_version.gateway.arn

  source_configuration {
    # a digest never changes, so there is nothing that could deploy itself
    auto_deployments_enabled = false
    authentication_configuration {
      access_role_arn = var.gateway.roles.execution
    }
    image_repository {
      image_identifier      = var.gateway.image
      image_repository_type = "ECR"
      image_configuration {
        port                          = "8000"
        runtime_environment_variables = var.gateway.environment
        runtime_environment_secrets   = var.gateway.secrets
      }
    }
  }

  instance_configuration {
    cpu               = tostring(var.gateway.size.cpu)
    memory            = tostring(var.gateway.size.memory)
    instance_role_arn = var.gateway.roles.instance
  }

  health_check_configuration {
    protocol            = "HTTP"
    path                = "/health"
    interval            = 20
    timeout             = 5
    healthy_threshold   = 1
    unhealthy_threshold = 3
  }

  network_configuration {
    egress_configuration {
      egress_type       = "VPC"
      vpc_connector_arn = aws_apprunner_vpc_connector.gateway.arn
    }
    ingress_configuration {
      is_publicly_accessible = !var.entrance.private
    }
  }

  encryption_configuration {
    kms_key = var.gateway.key_arn
  }
}

# The private entrance: App Runner answers in this network alone.
resource "aws_apprunner_vpc_ingress_connection" "gateway" {
  count       = var.entrance.private ? 1 : 0
  name        = var.gateway.name
  service_arn = aws_apprunner_service.gateway.arn
  ingress_vpc_configuration {
    vpc_id          = var.entrance.vpc_id
    vpc_endpoint_id = var.entrance.endpoint_id
  }
}

resource "aws_wafv2_web_acl_association" "gateway" {
  count        = var.entrance.firewall ? 1 : 0
  resource_arn = aws_apprunner_service.gateway.arn
  web_acl_arn  = var.entrance.firewall_arn
}
