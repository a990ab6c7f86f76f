# App Runner needs an image before it can exist, so the repositories come first.
locals {
  repositories = {
    gateway   = "${var.name}-api"
    pipelines = "${var.name}-pipelines"
    mlflow    = "${var.name}-mlflow"
  }
}

resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_136:AES256 as before; images hold public code, no data and no secrets
  for_each             = local.repositories
  name                 = each.value
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.protect_data

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "AES256"
  }
}

# Images are deployed by digest, and a rollback must find the former one.
resource "aws_ecr_lifecycle_policy" "image" {
  for_each   = aws_ecr_repository.image
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "the latest 50 images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 50 }
      action       = { type = "expire" }
    }]
  })
}
