# A task definition of one job: one container called `job`, a read-only root, /state and /tmp to write to.
locals {
  volumes = ["state", "tmp"]
}

resource "aws_ecs_task_definition" "job" {
  family                   = "${var.context.name}-${var.job}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  task_role_arn            = var.task_role_arn
  execution_role_arn       = var.execution_role_arn

  dynamic "volume" {
    for_each = local.volumes
    content {
      name = volume.value
    }
  }
  container_definitions = jsonencode([merge(
    var.entry_point == null ? {} : { entryPoint = var.entry_point },
    {
      name                   = "job"
      image                  = var.image
      essential              = true
      readonlyRootFilesystem = var.read_only
      command                = var.command
      mountPoints = [
        for name in local.volumes : { sourceVolume = name, containerPath = "/${name}", readOnly = false }
      ]
      environment = [for name, value in var.environment : { name = name, value = value }]
      secrets     = [for name, value in var.secrets : { name = name, valueFrom = value }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = var.log_group
          awslogs-region        = var.context.region
          awslogs-stream-prefix = var.job
        }
      }
    },
  )])
}
