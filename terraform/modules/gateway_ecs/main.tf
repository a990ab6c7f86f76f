# The gateway on Fargate: its log, its task, its service and how that scales. entrance.tf is the way in.
resource "aws_cloudwatch_log_group" "gateway" {
  #checkov:skip=CKV_AWS_338:30 days as asked for; decisions are kept in the database, not in logs
  name              = "/ecs/${var.gateway.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.gateway.key_arn
}

resource "aws_ecs_task_definition" "gateway" {
  #checkov:skip=CKV_AWS_249:they are two roles; checkov does not see through the object
  family                   = var.gateway.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.gateway.size.cpu
  memory                   = var.gateway.size.memory
  task_role_arn            = var.gateway.roles.instance
  execution_role_arn       = var.gateway.roles.execution
  # former revisions stay, so that a rollback finds them
  skip_destroy = true
  volume {
    name = "state"
  }
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([{
    name                   = "gateway"
    image                  = var.gateway.image
    essential              = true
    readonlyRootFilesystem = true
    portMappings           = [{ containerPort = 8000, hostPort = 8000, protocol = "tcp" }]
    mountPoints = [
      { sourceVolume = "state", containerPath = "/state", readOnly = false },
      { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
    ]
    environment = [for name, value in var.gateway.environment : { name = name, value = value }]
    secrets     = [for name, value in var.gateway.secrets : { name = name, valueFrom = value }]
    # the gateway finishes its requests within 20 seconds of SIGTERM
    stopTimeout = 30
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.gateway.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "gateway"
      }
    }
  }])
}

resource "aws_ecs_service" "gateway" {
  name                              = var.gateway.name
  cluster                           = var.cluster.arn
  task_definition                   = aws_ecs_task_definition.gateway.arn
  desired_count                     = var.gateway.size.min
  launch_type                       = "FARGATE"
  availability_zone_rebalancing     = "ENABLED"
  health_check_grace_period_seconds = 60
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"
  network_configuration {
    subnets          = var.gateway.network.subnet_ids
    security_groups  = [var.gateway.network.security_group_id]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.gateway.arn
    container_name   = "gateway"
    container_port   = 8000
  }
  # a deployment goes back when its tasks do not become healthy, and when predictions fail or take long
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  alarms {
    enable      = true
    rollback    = true
    alarm_names = var.rollback_alarms
  }
  lifecycle {
    # the autoscaler's
    ignore_changes = [desired_count]
  }
  depends_on = [aws_lb_listener.https]
}

resource "aws_appautoscaling_target" "gateway" {
  service_namespace  = "ecs"
  resource_id        = "service/${var.cluster.name}/${aws_ecs_service.gateway.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.gateway.size.min
  max_capacity       = var.gateway.size.max
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.gateway.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.gateway.service_namespace
  resource_id        = aws_appautoscaling_target.gateway.resource_id
  scalable_dimension = aws_appautoscaling_target.gateway.scalable_dimension
  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_in_cooldown  = 300
    scale_out_cooldown = 60
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
