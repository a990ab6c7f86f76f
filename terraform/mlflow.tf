# The MLflow server: private, behind an internal load balancer with TLS, with users of its own.
locals {
  mlflow_url = "https://${var.mlflow_tls.hostname}"
  mlflow_secrets = {
    MLFLOW_BACKEND_STORE_URI       = "${aws_secretsmanager_secret.database["mlflow"].arn}:url::"
    AUTH_DATABASE_URI              = "${aws_secretsmanager_secret.database["mlflow_users"].arn}:url::"
    MLFLOW_AUTH_ADMIN_PASSWORD     = aws_secretsmanager_secret.single["mlflow-admin"].arn
    MLFLOW_FLASK_SERVER_SECRET_KEY = aws_secretsmanager_secret.single["mlflow-session"].arn
  }
  mlflow_secret_arns = [
    aws_secretsmanager_secret.database["mlflow"].arn, aws_secretsmanager_secret.database["mlflow_users"].arn,
    aws_secretsmanager_secret.single["mlflow-admin"].arn, aws_secretsmanager_secret.single["mlflow-session"].arn,
  ]
}

resource "aws_ecs_cluster" "platform" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "mlflow" {
  family                   = "${var.name}-mlflow"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 2048
  task_role_arn            = aws_iam_role.process["mlflow"].arn
  execution_role_arn       = aws_iam_role.process["mlflow-execution"].arn
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([{
    name                   = "mlflow"
    image                  = local.images["mlflow"]
    essential              = true
    readonlyRootFilesystem = true
    portMappings           = [{ containerPort = 5000, hostPort = 5000, protocol = "tcp" }]
    mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
    environment = [
      { name = "AWS_DEFAULT_REGION", value = var.region },
      { name = "HOME", value = "/tmp" },
      { name = "MLFLOW_ARTIFACTS_DESTINATION", value = "s3://${aws_s3_bucket.platform.bucket}/artifacts" },
      { name = "MLFLOW_DISABLE_TELEMETRY", value = "true" },
      { name = "MLFLOW_SERVER_ALLOWED_HOSTS", value = var.mlflow_tls.hostname },
      { name = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", value = "false" },
    ]
    secrets = [for name, value in local.mlflow_secrets : { name = name, valueFrom = value }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.ours["mlflow"].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "mlflow"
      }
    }
  }])
}

resource "aws_ecs_service" "mlflow" {
  name                              = "${var.name}-mlflow"
  cluster                           = aws_ecs_cluster.platform.id
  task_definition                   = aws_ecs_task_definition.mlflow.arn
  desired_count                     = 1
  launch_type                       = "FARGATE"
  availability_zone_rebalancing     = "ENABLED"
  health_check_grace_period_seconds = 120
  network_configuration {
    subnets          = [for subnet in aws_subnet.private : subnet.id]
    security_groups  = [aws_security_group.member["mlflow"].id]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.mlflow.arn
    container_name   = "mlflow"
    container_port   = 5000
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  depends_on = [aws_lb_listener.mlflow]
}

resource "aws_lb" "mlflow" {
  #checkov:skip=CKV_AWS_91:MLflow logs its requests
  #checkov:skip=CKV_AWS_150:deletion protection is a variable, true by default
  name                       = "${var.name}-mlflow"
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = [for subnet in aws_subnet.private : subnet.id]
  security_groups            = [aws_security_group.member["mlflow-entry"].id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protect_data
}

resource "aws_lb_target_group" "mlflow" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer, inside the private network
  name        = "${var.name}-mlflow"
  port        = 5000
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = aws_vpc.platform.id
  health_check {
    path    = "/health"
    matcher = "200"
  }
}

resource "aws_lb_listener" "mlflow" {
  load_balancer_arn = aws_lb.mlflow.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.mlflow_tls.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.mlflow.arn
  }
}

# The certificate's name, resolved inside the network only.
resource "aws_route53_zone" "mlflow" {
  #checkov:skip=CKV2_AWS_38:DNSSEC is for public zones
  #checkov:skip=CKV2_AWS_39:a private zone of one name has no queries worth logging
  name = var.mlflow_tls.hostname
  vpc {
    vpc_id = aws_vpc.platform.id
  }
  lifecycle {
    # the network from which people come, such as a VPN's, may be associated too
    ignore_changes = [vpc]
  }
}

resource "aws_route53_record" "mlflow" {
  zone_id = aws_route53_zone.mlflow.zone_id
  name    = var.mlflow_tls.hostname
  type    = "A"
  alias {
    name                   = aws_lb.mlflow.dns_name
    zone_id                = aws_lb.mlflow.zone_id
    evaluate_target_health = false
  }
}
